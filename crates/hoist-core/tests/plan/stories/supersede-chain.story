# Each promotion takes the place of the one before; what was superseded is no base for the next.
build A web=good:300
promote
rest
build B web=good:2000
promote
run 500
supersede
rest
build C web=good:2000
promote
run 500
supersede
rest
build D web=good:2000
promote
rest
releases
