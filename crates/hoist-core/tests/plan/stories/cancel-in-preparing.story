# The promotion ends only when its release command is gone.
release A web=good:300
release B web=good:300 +command
promote A
rest
promote B
run 500
cancel
rest
