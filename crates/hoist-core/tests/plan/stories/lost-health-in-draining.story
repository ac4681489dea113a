# The new release dies right after the switch while old requests still run: traffic goes back, the worker comes up again.
release A web=good:300 worker=good:300
release B web=dies:300:1500 worker=good:300
promote A
rest
requests 1
promote B
run 8000
answered
rest
