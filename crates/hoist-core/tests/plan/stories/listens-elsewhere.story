# The sentence that helps, at once and not after the start limit.
release A web=good:500
release B web=elsewhere
promote A
rest
promote B
rest
