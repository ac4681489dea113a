# The rack dies after a failure was decided: the outcome is recorded once, and the base is what it was.
build A web=good:300
promote
rest
build B web=memory
promote
run 200
rack dies 5000
rest
env C X=1
releases
