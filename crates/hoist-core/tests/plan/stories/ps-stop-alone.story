# The only process of a service: requests wait for it at the router. The rack dies in between and goes on.
release A web=good:500
promote A
rest
renew web.1
run 300
rack dies 1000
rest
