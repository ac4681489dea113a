# A new router's counts say nothing of the old one's requests: the drain takes its full limit.
release A web=good:300
release B web=good:300
promote A
rest
requests 3
promote B
run 1000
router dies
rest
