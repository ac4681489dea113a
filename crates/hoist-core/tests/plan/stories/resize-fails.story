# There is no memory for more: the old size stays, with the reason.
memory 100
release A web^40=good:300
promote A
rest
scale web=4
rest
scale web=2
rest
