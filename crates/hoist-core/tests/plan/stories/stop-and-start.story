# A stop drains, keeps sizes, and stays until a user starts the app.
release A web=good:300 worker=good:300
promote A
rest
scale web=2
rest
requests 1
stop
run 1000
answered
rest
start A
rest
