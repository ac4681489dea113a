# What must not run twice: requests are held, the old stops, the new starts, traffic moves.
release A web=good:300 lone=good:500
release B web=good:300 lone=good:500
promote A
rest
promote B
rest
