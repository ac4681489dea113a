# Nothing to go back to: failed, and the next try is as any other.
release A web=never
release B web=good:300
promote A
rest
promote B
rest
