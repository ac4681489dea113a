# One of two processes is started again: it leaves the route, its requests finish, it stops, starts and comes back. The
# other one is not touched and serves alone meanwhile.
release A web*2=good:500
promote A
rest
requests 2
renew web.1
run 1000
answered
rest
