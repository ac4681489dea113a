# A rollback that fails says so, and what served goes on serving. The next one goes to the same release again.
build A web=good:300
promote
rest
build B web=good:300
promote
rest
behave A web=exits:1
run 40000
rollback
rest
releases
rollback
run 100
releases
