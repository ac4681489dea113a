# The rack dies in the middle of a rollback: the next one goes on with it, and what served serves meanwhile.
build A web=good:300 worker=good:300
promote
rest
build B web=good:300 worker=good:300
promote
rest
rollback
run 400
rack dies 5000
rest
releases
