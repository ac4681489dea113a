# While no rack ran the clock of the machine was set forward, or an hour passed: the promotion is over its limit, says so,
# and what served serves. One that had switched already has succeeded.
build A web=good:300
promote
rest
build B web=good:4000
promote
run 1000
no rack for 3600000
rest
build C web=good:300
requests 1
promote
run 1500
no rack for 3600000
rest
releases
