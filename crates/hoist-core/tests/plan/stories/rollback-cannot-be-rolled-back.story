# When neither the rollback nor what served before comes up, the outcome is `failed` and what served stays wanted.
build A lone=good:300
promote
rest
build B lone=good:300
promote
rest
behave A lone=exits:1
behave B lone=never
rollback
run 200000
releases
