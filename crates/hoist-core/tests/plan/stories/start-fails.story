# A stopped app whose release no longer comes up is stopped again.
release A web=good:300
release B web=missing
promote A
rest
stop
rest
promote B
rest
