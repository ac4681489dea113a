# Beside a promotion that has not switched, what serves is started again; while traffic moves, nothing is, and what is on
# its way out goes by itself.
release A web*2=good:500
release B web*2=good:3000
promote A
rest
promote B
run 1000
renew web.1
run 2100
renew web.2
run 1000
renew web.2
rest
