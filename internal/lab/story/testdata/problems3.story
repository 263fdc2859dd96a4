estate two-city
start
run move-unit takeover
run move-unit mode takeover set unit
run
generate
generate takeover from a
approve
decline agree because no
complete count set =5
wait run done 5s
evidence c
orders
orders hold u1
orders hold 0 u1
orders enter 1 because
orders lose 1
