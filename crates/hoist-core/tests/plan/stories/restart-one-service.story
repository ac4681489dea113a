# The other service's processes are not touched.
release A web=good:300 api=good:300
promote A
rest
restart A web
rest
