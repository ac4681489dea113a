# A stop never queues behind a promotion.
release A web=good:300
release B web=good:9000
promote A
rest
promote B
run 1000
stop
rest
