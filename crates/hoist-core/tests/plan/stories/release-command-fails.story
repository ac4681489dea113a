# Nothing of the new release starts.
release A web=good:300
release B web=good:300 +command-fails
promote A
rest
promote B
rest
