# A payment was made on the owner alone: its copy is cut off, so its COMMIT waits, and somebody ends the session that waits.
# Now the row can be seen. The client asks again with its key, the owner dies, and the copy goes on without the payment.
# What the client was answered meanwhile has to be there.
estate one-unit
start
load rate 20 accounts 400 via b
wait load steady 30s
step "a key is repeated while its effect is on the owner alone" failover switches u1 1
  fault kill process node-a
  fault cut a both ports node
  fault cut a-b ports postgres
  pass 500ms
  fault terminate backends of u1
  pass 1500ms
  fault kill database u1
  wait u1 at b 20s
  wait gap closed 20s
end
check
