# The new release lacks a service that must not run twice. Cancelled while that is on its way out, the promotion goes back:
# the service comes up again, but not before the old process is gone.
build A web=good:300 clock=good:300
promote
rest
build B web=good:300
requests 1
promote
run 500
cancel
run 1000
answered
rest
