# Changes of variables add up while nobody promotes them, and go out with the next build.
build A web=good:300
promote
rest
env B X=1
env C Y=2
build D web=good:300
releases
promote
rest
releases
