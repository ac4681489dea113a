# Two rollbacks go back in time, not to and fro; a failed promotion is nothing to go back to.
build A web=good:300
promote
rest
build B web=good:300
promote
rest
build C web=exits:1
promote
rest
build D web=good:300
promote
rest
rollback
rest
rollback
rest
rollback
releases
