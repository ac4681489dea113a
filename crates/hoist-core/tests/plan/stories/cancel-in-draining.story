# A promotion that is cancelled after the switch, while old requests still run, goes back; the worker comes up again.
release A web=good:300 worker=good:300
release B web=good:300 worker=good:300
promote A
rest
requests 1
promote B
run 2000
cancel
run 2000
answered
rest
