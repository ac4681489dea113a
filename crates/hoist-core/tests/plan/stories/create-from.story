# A release of the build of one and the variables of another; staged changes stay behind.
build A web=good:300
promote
rest
env B X=1
build C web=good:300
promote
rest
env D X=2
create-from E A D
promote E
rest
env F Y=3
releases
