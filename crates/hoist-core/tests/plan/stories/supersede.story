# A newer promotion ends the one in flight, then begins.
release A web=good:300
release B web=good:9000
release C web=good:300
promote A
rest
promote B
run 2000
promote C
supersede
run 1000
promote C
rest
