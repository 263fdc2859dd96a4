# The link to the copy is cut, and debits wait for it. Somebody ends the waiting sessions: the debits are visible at the owner and nowhere
# else, with the messages that credit the other unit, which needs no copy at the moment. A message that leaves now is a credit without a
# debit once the owner and the gateways beside it are lost, and with them everybody who would ask again.
estate two-city
start
load rate 120 accounts 400 cross 50% via a once
wait load steady 30s
step "a message leaves before its cause is durable" failover units u1 no-survivor
  fault kill process agent-u2-a
  wait u2 unprotected 20s
  fault cut a-b ports postgres
  pass 300ms
  fault terminate backends of u1
  pass 500ms
  fault kill process gateway-a,corebank-a,corebank-a2
  fault kill database u1
  wait u1 at b 20s
  load stop
end
start process gateway-a,corebank-a,corebank-a2
check
