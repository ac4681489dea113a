# A rollback whose processes die when requests reach them goes back to what served before, which is still there.
build A web=good:300
promote
rest
build B web=good:300
promote
rest
requests 1
behave A web=dies:300:1500
rollback
rest
releases
