# What failed is never a base, nor is what was built on it; what was staged before it stays staged.
build A web=good:300
promote
rest
env B X=1
build C web=exits:1
promote
run 500
env D Y=2
rest
env E Z=3
releases
promote
rest
releases
