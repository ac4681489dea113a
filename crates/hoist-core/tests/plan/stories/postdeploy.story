# Once per deploy that succeeded, after the switch; a failure changes nothing, and nobody waits for it.
release A web=good:500 +script
release B web=good:500 +script-fails
release C web=exits:1 +script
promote A
rest
promote B
run 2000
# The rack dies while it runs: it goes on, and its end is seen by the next one.
rack dies 3000
rest
# Not for what failed, nor for going back and restarting.
promote C
rest
rollback A
rest
restart Z
rest
# The next deploy does not wait for the script of the one before; scripts run one after the other.
promote B
run 1200
promote A
rest
# A stop ends it.
promote A
run 1500
stop
rest
