# The application at the owner's site stands still while its requests are under way: the copy has their effects, their answers wait in its
# sockets. The unit changes hands, and the gateway answers in the new ownership. Then the application goes on, and so do the old answers:
# none of them may reach a client.
estate one-unit
policy u1 health 10s
start
load rate 100 accounts 400 via a
wait load steady 30s
step "answers come late" takeover switches u1 1
  fault freeze link a-b ports postgres 500ms
  pass 250ms
  fault freeze process corebank-a
  pass 350ms
  switch u1 to b
  wait u1 at b 20s
  pass 1800ms
  heal
  wait gap closed 20s
end
check
