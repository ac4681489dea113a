# The new one never gets ready: the old one comes up again under a new name, then takes traffic again.
release A web=good:300 lone=good:500
release B web=good:300 lone=exits:3
promote A
rest
promote B
rest
