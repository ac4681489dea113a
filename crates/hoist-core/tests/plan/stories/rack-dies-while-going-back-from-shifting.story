# Cancelled or failed, the next controller finishes the way back; the promotion ends once, and with the same word.
build A web=good:300
promote
rest
build B web=good:800 +command
requests 1
promote
run 3000
cancel
run 100
rack dies 3000
rest
releases
