# The next controller looks once and goes on.
release A web=good:300
release B web=good:300
promote A
rest
promote B
run 400
rack dies 3000
rest
