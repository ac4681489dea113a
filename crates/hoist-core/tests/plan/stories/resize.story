# Up: new processes join when ready. Down: the highest leave the route, drain, and stop.
release A web=good:1000
promote A
rest
scale web=3
rest
requests 1
scale web=1
run 2000
answered
rest
