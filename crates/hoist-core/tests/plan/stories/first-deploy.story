# An app's first release: gate, switch, done.
release A web*2=good:500 worker=good:1000
promote A
rest
