# Three exits before ready: what served goes on serving.
release A web=good:500
release B web=exits:1
promote A
rest
promote B
rest
