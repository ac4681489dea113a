# A promotion gives up in time: by its own limit, and by the app's.
build A web=good:300
promote
rest
build B web=good:15000
promote B within 3000
rest
limit-of-promotions 5000
promote B
rest
releases
