# A rollback that is cancelled leaves the warm processes as warm as they were.
release A web=good:500 worker=good:5000
release B web=good:500 worker=good:500
promote A
rest
promote B
run 4000
rollback A
run 2000
cancel
run 1000
rollback A
rest
