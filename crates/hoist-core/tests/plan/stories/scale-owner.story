# A size follows the manifest until an operator sets one, and again when it is given back.
release A web*1=good:500
release B web*2=good:500
release C web*3=good:500
promote A
rest
promote B
rest
scale web=4
rest
promote C
rest
give-back web
rest
