# A release command that fails ends its promotion before anything starts; what was staged before it stays.
build A web=good:300
promote
rest
env B X=1
build C web=good:300 +command-fails
promote
rest
env D Y=2
releases
