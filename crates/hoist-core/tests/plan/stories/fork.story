# What the next release is made from can be chosen: then what is staged stays behind, or what failed is built on.
build A web=good:300
promote
rest
env B X=1
env C Y=2 from active
env D Z=3
build E web=exits:1
promote
rest
env F X=5 from newest
env G X=6 from B
env H W=7
releases
