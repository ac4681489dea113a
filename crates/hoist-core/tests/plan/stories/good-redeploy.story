# A second release takes over without a gap; old web processes finish their requests, then stay warm, then go.
release A web*2=good:500 worker=good:1000
release B web*2=good:500 worker=good:1000 +command
promote A
rest
requests 2
promote B
run 6000
answered
rest
