# What is started again and does not become ready is left to its restart policy; nothing rolls back.
release A web*2=good:500
promote A
rest
requests 1
renew web.2
behave A web=exits:3
renew web.2
run 1000
answered
run 20000
behave A web=good:500
rest
