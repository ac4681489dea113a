# Unroute, drain, remove; the record last.
release A web=good:300 worker=good:300
promote A
rest
delete
rest
