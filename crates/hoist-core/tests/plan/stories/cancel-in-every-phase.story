# A promotion can be cancelled wherever it stands; what served before serves, and nothing stands on what was cancelled.
build A web=good:300 lone=good:300
promote
rest
build B web=good:300 lone=good:3000 +command
promote
run 1000
cancel
rest
promote B
run 2400
cancel
rest
promote B
run 4000
cancel
rest
env C X=1
releases
