# A process that answers no longer, by its liveness check, is started again by itself; again and again with growing pauses.
release A web*2=deaf:500:4000
promote A
run 40000
