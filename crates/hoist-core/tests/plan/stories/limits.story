# New limits are tried by a restart of that service; where it does not succeed, those that serve are wanted again.
release A web*1=good:500 worker=good:0
promote A
rest
limit web=512
rest
limit web=256
run 300
cancel
rest
give-back web
rest
