# Never start what could get the live processes killed; warm processes give way first.
memory 100
release A web^40=good:300
release B web^40=good:300
release C web^70=good:300
promote A
rest
promote B
run 3000
promote A
run 3000
promote C
rest
