# Going back within 30 s only moves the route for web; the worker was told to stop and passes the gate again.
release A web*2=good:5000 worker=good:1000
release B web*2=good:500 worker=good:1000
promote A
rest
promote B
run 4000
rollback A
rest
