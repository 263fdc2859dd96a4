estate two-city
start
wait 5s
wait unit u1 15s
disk u1-a 5MB
load rate 5 hot 105%
say hello
say "hello
pass 25h
policy u1
fault starve 1000
accept u1 as ann because no
heal u1-a x
end
check now
repeat 0
end
step "without a loss" emergency resent 3
end
resend
repeat for 3s
