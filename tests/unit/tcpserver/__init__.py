"""unit/tcpserver"""
